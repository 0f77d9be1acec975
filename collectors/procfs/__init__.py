"""Processes, cgroups and files under /proc."""
