"""Lines of the kernel's log and of other log files, counted by pattern; their texts are not kept."""
