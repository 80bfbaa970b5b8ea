/* string and utf8: the fast ways agree with one character after the other. */
#include "json/string.h"
#include "json/utf8.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void check(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_prefix(const unsigned char *data, size_t size)
{
    size_t valid = 0;
    for (size_t step = 1; step > 0; valid += step) {
        step = utf8_sequence(data + valid, data + size);
    }
    check(utf8_valid_prefix(data, size) == valid);
}

/* The three widths hold the same characters, and no more than was promised. */
static void check_string(const unsigned char *data, const struct string_shape *shape)
{
    uint32_t *wide = malloc(shape->length * sizeof *wide + 1);
    string_write_4(data, shape, wide);
    uint8_t *one = malloc(shape->length + 1);
    uint16_t *two = malloc(shape->length * sizeof *two + 1);
    if (shape->widest <= 0xFF) {
        string_write_1(data, shape, one);
    }
    if (shape->widest <= 0xFFFF) {
        string_write_2(data, shape, two);
    }
    uint32_t widest = 0;
    for (size_t i = 0; i < shape->length; i++) {
        widest = wide[i] > widest ? wide[i] : widest;
        check(shape->widest > 0xFF || one[i] == wide[i]);
        check(shape->widest > 0xFFFF || two[i] == wide[i]);
    }
    check(widest <= shape->widest);
    check(shape->widest == 0x7F || widest > (shape->widest == 0xFF     ? 0x7Fu
                                             : shape->widest == 0xFFFF ? 0xFFu
                                                                       : 0xFFFFu));
    free(wide);
    free(one);
    free(two);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    check_prefix(data, size);
    struct string_shape shape;
    enum string_status status = string_measure(data, data + size, &shape);
    check(shape.end >= data && shape.end <= data + size);
    if (status == STRING_OK) {
        check(*shape.end == '"' && utf8_valid_prefix(data, (size_t)(shape.end - data)) == (size_t)(shape.end - data));
        check_string(data, &shape);
    }
    if (status == STRING_ENCODING) {
        check(utf8_sequence(shape.end, data + size) == 0);
    }
    return 0;
}
