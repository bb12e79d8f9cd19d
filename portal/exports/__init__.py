"""Lists as files, made by the worker: asked for, watched, fetched, and gone after a week."""
