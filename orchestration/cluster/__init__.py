"""Ray: local sessions, jobs on remote clusters, and the code that travels with them."""
