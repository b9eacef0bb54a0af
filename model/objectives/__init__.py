"""Objectives of training behind one interface, and the teacher and guards that they share."""
