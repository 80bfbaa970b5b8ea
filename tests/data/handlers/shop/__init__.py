"""A package whose modules are named in every form ASYA_PROCESS_MODULE knows."""
