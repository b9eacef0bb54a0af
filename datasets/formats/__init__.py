"""Decoders of untrusted files: pictures, arrays, joints."""
