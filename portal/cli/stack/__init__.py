"""`make run`: everything Turnpike needs, started on one machine, kept up, and stopped again without a trace."""
