"""Nets and jobs that other toolkits wrote, read from their own files."""
