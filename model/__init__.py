"""Network, objectives, embedding and export in torch. No file here may import a process group or read a store."""
