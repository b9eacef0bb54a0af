"""The published P3D encoder (OpenGait's FoundationGait): network, norms, and its checkpoints."""
