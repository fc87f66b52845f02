"""The teleoperator actor: a person's input device as a source of actions."""
