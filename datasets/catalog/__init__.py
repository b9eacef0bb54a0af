"""The twelve collections as data, one file each, and their official lists of subjects and sequences."""
