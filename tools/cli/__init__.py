"""The commands people type: supervisor and actorctl."""
