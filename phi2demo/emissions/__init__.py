"""Energy and CO2e, estimated: of a training run, of the running app, of whatever a person types. Knows no model."""
