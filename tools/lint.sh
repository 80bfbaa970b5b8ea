#!/usr/bin/env bash
# Layers, circles, duplicates, format, clang-tidy and cppcheck over our own sources. Fails on any finding.
set -eu
cd "$(dirname "$0")/.."
build=build/clang

python3 tools/check_layers.py
python3 tools/check_circles.py
python3 tools/check_duplicates.py
mapfile -t sources < <(git ls-files --cached --others --exclude-standard 'src/*.[ch]' 'bench/*.[ch]' 'tests/unit/*.[ch]' 'tests/chaos/*.[ch]' 'fuzz/*.[ch]')
# Versions differ in what they call formatted, so it is the one of tests/requirements.txt wherever that is installed.
PATH=$PWD/.venv/bin:$PATH clang-format --dry-run --Werror "${sources[@]}"
echo "clang-format: ${#sources[@]} files as the style says"

CC=clang tools/build.sh "$build"
mapfile -t units < <(git ls-files --cached --others --exclude-standard 'src/*.c' 'bench/*.c')
printf '%s\n' "${units[@]}" | xargs -P 2 -n 6 clang-tidy --quiet -p "$build" 2>build/clang/tidy.log || { cat build/clang/tidy.log >&2; exit 1; }
echo "clang-tidy: ${#units[@]} files clean"

# resourceLeak: cppcheck does not know __attribute__((cleanup)); the descriptor tests look for leaks instead
cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
    --suppress=unknownMacro --error-exitcode=1 -j 2 -Isrc -DERROR_CATEGORY= --suppress=resourceLeak src bench
echo "cppcheck: clean"
