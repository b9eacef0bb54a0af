"""The science of judging: arrays in, numbers and tables out."""
