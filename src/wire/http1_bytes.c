#include "wire/http1_bytes.h"

enum {
    TEXT = HTTP1_TEXT,
    TOKEN = HTTP1_TEXT | HTTP1_TOKEN,
    TARGET = HTTP1_TEXT | HTTP1_TARGET,
    URI = HTTP1_TEXT | HTTP1_TARGET | HTTP1_HOST,
    ALL = HTTP1_TEXT | HTTP1_TOKEN | HTTP1_TARGET | HTTP1_HOST,
};

const unsigned char http1_bytes[256] = {
    ['\t'] = TEXT,        [' '] = TEXT,           ['!'] = ALL,         ['"'] = TEXT,  ['#'] = TOKEN,
    ['$' ... '\''] = ALL, ['(' ... ')'] = URI,    ['*' ... '+'] = ALL, [','] = URI,   ['-' ... '.'] = ALL,
    ['/'] = TARGET,       ['0' ... '9'] = ALL,    [':' ... ';'] = URI, ['<'] = TEXT,  ['='] = URI,
    ['>'] = TEXT,         ['?' ... '@'] = TARGET, ['A' ... 'Z'] = ALL, ['['] = URI,   ['\\'] = TEXT,
    [']'] = URI,          ['^'] = TOKEN,          ['_'] = ALL,         ['`'] = TOKEN, ['a' ... 'z'] = ALL,
    ['{'] = TEXT,         ['|'] = TOKEN,          ['}'] = TEXT,        ['~'] = ALL,   [0x80 ... 0xFF] = TEXT,
};
