"""Containers' log files, followed all the time into segments that are uploaded."""
