"""One replica: a pre-warmed policy on one device that serves many sessions."""
