"""Client programs of other projects: their protocols on the one side, a service on the other."""
