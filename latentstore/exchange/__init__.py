"""Rows in and out of a space: files of other tools."""
