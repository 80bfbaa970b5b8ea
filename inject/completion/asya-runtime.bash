# Completion of asya-runtime for bash: the program itself knows its commands and flags.
eval "$(asya-runtime completion bash 2>/dev/null)"
