/* cgroup: what a made-up control group says, in both versions; what cannot be read is unknown and never guessed. */
#include "descriptors.h"
#include "folder.h"

#include "supervisor/cgroup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct file {
    const char *name; /* below the root */
    const char *content;
};

enum question { OOM_KILLS, MEMORY_LIMIT, CPU_QUOTA };

struct group_row {
    const char *name;
    struct file files[3];
    enum question question;
    bool known;
    uint64_t expected;
};

static const struct group_row group_rows[] = {
    {"kills are counted, version 2",
     {{"memory.events", "low 0\nhigh 0\nmax 41\noom 3\noom_kill 2\noom_group_kill 1\n"}},
     OOM_KILLS,
     true,
     2},
    {"no kills, version 2", {{"memory.events", "low 0\noom 0\noom_kill 0\n"}}, OOM_KILLS, true, 0},
    {"the whole group was killed: the counter says how many",
     {{"memory.events", "oom 1\noom_kill 5\noom_group_kill 1\n"}},
     OOM_KILLS,
     true,
     5},
    {"a kernel without the counter, version 2", {{"memory.events", "low 0\noom 1\n"}}, OOM_KILLS, false, 0},
    {"only a counter with a longer name", {{"memory.events", "oom_kill_total 9\n"}}, OOM_KILLS, false, 0},
    {"a count that is no number", {{"memory.events", "oom_kill many\n"}}, OOM_KILLS, false, 0},
    {"a count beyond all bounds", {{"memory.events", "oom_kill 99999999999999999999999\n"}}, OOM_KILLS, false, 0},
    {"an empty file", {{"memory.events", ""}}, OOM_KILLS, false, 0},
    {"kills are counted, version 1",
     {{"memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"}},
     OOM_KILLS,
     true,
     7},
    {"an old kernel of version 1 without the counter",
     {{"memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n"}},
     OOM_KILLS,
     false,
     0},
    {"no control group at all", {{NULL, NULL}}, OOM_KILLS, false, 0},

    {"a limit, version 2", {{"memory.max", "536870912\n"}}, MEMORY_LIMIT, true, 536870912},
    {"no limit, version 2", {{"memory.max", "max\n"}}, MEMORY_LIMIT, false, 0},
    {"a limit, version 1", {{"memory/memory.limit_in_bytes", "1073741824\n"}}, MEMORY_LIMIT, true, 1073741824},
    {"no limit, version 1", {{"memory/memory.limit_in_bytes", "9223372036854771712\n"}}, MEMORY_LIMIT, false, 0},
    {"an unreadable limit", {{"memory.max", "-1\n"}}, MEMORY_LIMIT, false, 0},
    {"no file with a limit", {{NULL, NULL}}, MEMORY_LIMIT, false, 0},

    {"one and a half CPUs, version 2", {{"cpu.max", "150000 100000\n"}}, CPU_QUOTA, true, 1500},
    {"a tenth of a CPU, version 2", {{"cpu.max", "10000 100000\n"}}, CPU_QUOTA, true, 100},
    {"no quota, version 2", {{"cpu.max", "max 100000\n"}}, CPU_QUOTA, false, 0},
    {"a period of nothing", {{"cpu.max", "150000 0\n"}}, CPU_QUOTA, false, 0},
    {"a quota without a period", {{"cpu.max", "150000\n"}}, CPU_QUOTA, false, 0},
    {"a quota that would overflow", {{"cpu.max", "18446744073709551615 100000\n"}}, CPU_QUOTA, false, 0},
    {"two CPUs, version 1",
     {{"cpu/cpu.cfs_quota_us", "200000\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
     CPU_QUOTA,
     true,
     2000},
    {"no quota, version 1",
     {{"cpu/cpu.cfs_quota_us", "-1\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
     CPU_QUOTA,
     false,
     0},
    {"a quota without its period, version 1", {{"cpu/cpu.cfs_quota_us", "200000\n"}}, CPU_QUOTA, false, 0},
};

static void make_group(const char *root, const struct file files[3])
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/memory", root);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/cpu", root);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 3 && files[i].name != NULL; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", root, files[i].name);
        file_write(path, files[i].content);
    }
}

static bool ask(enum question question, uint64_t *ret_value)
{
    return question == OOM_KILLS      ? cgroup_oom_kills(ret_value)
           : question == MEMORY_LIMIT ? cgroup_memory_limit(ret_value)
                                      : cgroup_cpu_quota(ret_value);
}

static void both_versions_are_read_and_nothing_is_guessed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof group_rows / sizeof group_rows[0]; i++) {
        const struct group_row *row = &group_rows[i];
        char root[FOLDER_SIZE];
        folder_make(root);
        make_group(root, row->files);
        assert_int_equal(setenv("ASYA_CGROUP_ROOT", root, 1), 0);
        uint64_t value = 0;
        bool known = ask(row->question, &value);
        folder_remove(root);
        if (known != row->known || (known && value != row->expected)) {
            fail_msg("%s: %s %llu", row->name, known ? "known" : "unknown", (unsigned long long)value);
        }
    }
}

static void files_that_cannot_be_read_are_unknown(void **state)
{
    (void)state;
    char root[FOLDER_SIZE];
    char path[256];
    uint64_t value;
    folder_make(root);
    (void)snprintf(path, sizeof path, "%s/memory.events", root);
    assert_int_equal(mkdir(path, 0700), 0); /* a folder is no file */
    assert_int_equal(setenv("ASYA_CGROUP_ROOT", root, 1), 0);
    assert_false(cgroup_oom_kills(&value));
    assert_int_equal(setenv("ASYA_CGROUP_ROOT", "/nonexistent", 1), 0);
    assert_false(cgroup_oom_kills(&value));
    assert_false(cgroup_memory_limit(&value));
    assert_false(cgroup_cpu_quota(&value));
    folder_remove(root);
}

static void paths_too_long_are_unknown(void **state)
{
    (void)state;
    static char root[20000];
    uint64_t value;
    memset(root, '/', sizeof root - 1);
    assert_int_equal(setenv("ASYA_CGROUP_ROOT", root, 1), 0);
    assert_false(cgroup_oom_kills(&value));
    assert_int_equal(unsetenv("ASYA_CGROUP_ROOT"), 0);
}

static void this_machines_own_files_do_no_harm(void **state)
{
    (void)state;
    uint64_t value;
    (void)cgroup_oom_kills(&value);
    (void)cgroup_memory_limit(&value);
    (void)cgroup_cpu_quota(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(both_versions_are_read_and_nothing_is_guessed),
        DESCRIPTOR_TEST(files_that_cannot_be_read_are_unknown),
        DESCRIPTOR_TEST(paths_too_long_are_unknown),
        DESCRIPTOR_TEST(this_machines_own_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
