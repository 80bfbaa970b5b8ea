"""Which tests prove which row of the list of faults: `pytest -k W7` runs those of W7 (`-k "W1 and not W10"` for W1 alone).

A test is named by its file and by how its name begins; rows that a file shows as a whole have "" there."""

ROWS = {
    "W1": [("test_worker_death", "test_a_kill_from_outside"), ("test_worker_death", "test_every_one_of_many_deaths"),
           ("test_worker_death", "test_a_worker_killed_while_idle"), ("test_chaos", "")],
    "W2": [("test_worker_death", "test_death_by"), ("test_worker_death", "test_the_log_tells")],
    "W3": [("test_worker_death", "test_death_by"), ("test_exceptions", "test_the_worker_stays_up_after")],
    "W4": [("test_exceptions", "test_a_real_shortage_of_memory"), ("test_exceptions", "test_a_result_too_large"),
           ("test_recycling", "test_a_memory_limit")],
    "W5": [("test_environment", "test_the_kernels_oom_killer")],
    "W6": [("test_environment", "test_whether_it_was_the_oom_killer")],
    "W7": [("test_deadlines", "")],
    "W8": [("test_worker_death", "test_one_well_formed_end")],
    "W9": [("test_worker_death", "test_there_is_one_reply_after"), ("test_worker_death", "test_children_the_function_left"),
           ("test_worker_death", "test_a_child_holding")],
    "W10": [("test_exceptions", "test_twenty_megabytes_printed"), ("test_exceptions", "test_what_the_handler_prints")],
    "W11": [("test_exceptions", "test_the_next_requests_do_not_notice"),
            ("test_exceptions", "test_a_handler_that_leaks_a_thousand_descriptors")],
    "W12": [("test_startup", "")],
    "W13": [("test_crash_loop", "")],
    "W14": [("test_exceptions", "test_a_result_json_cannot_hold"), ("test_exceptions", "test_a_treacherous_result")],
    "W15": [("test_exceptions", "test_a_strange_exception"), ("test_exceptions", "test_an_exception_group")],
    "C2": [("test_client_gone", "")],
    "E1": [("test_socket_file", "test_a_removed_file"), ("test_socket_file", "test_a_removed_directory"),
           ("test_socket_file", "test_a_replacement")],
    "E2": [("test_socket_file", "test_a_stale"), ("test_socket_file", "test_a_second_start"),
           ("test_socket_file", "test_of_twenty_starts"), ("test_socket_file", "test_what_is_no_socket"),
           ("test_socket_file", "test_a_place_where"), ("test_socket_file", "test_a_longer_path"),
           ("test_socket_file", "test_a_path_of_107_bytes")],
    "E3": [("test_environment", "test_a_full_disk")],
    "E4": [("test_environment", "test_with_few_descriptors"), ("test_environment", "test_a_worker_that_cannot_be_forked")],
    "E5": [("test_environment", "test_it_serves_and_answers_for_dead_workers_without")],
    "E6": [("test_stop", "test_a"), ("test_stop", "test_an_idle"), ("test_stop", "test_many_requests"),
           ("test_stop", "test_waiting_requests"), ("test_stop", "test_the_grace_period")],
    "E7": [("test_stop", "test_workers_do_not_outlive"), ("test_stop", "test_workers_that_spin")],
    "E8": [("test_stop", "test_as_process_1"), ("test_stop", "test_orphans")],
    "E10": [("test_deadlines", "test_a_stopped_supervisor")],
}


def rows_of(module, name):
    """The rows a test is listed for."""
    return {row for row, tests in ROWS.items()
            for listed, beginning in tests if listed == module and name.startswith(beginning)}
