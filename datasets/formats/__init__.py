"""Decoders of untrusted files: pictures, pickles, joints."""
