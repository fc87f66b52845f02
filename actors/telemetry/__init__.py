"""The telemetry actor: the fleet's requests as OpenTelemetry traces."""
