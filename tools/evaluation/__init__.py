"""How well services do on robots of a running fleet: episodes, statistics, one report."""
