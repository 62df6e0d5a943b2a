"""A study as typed models: the configuration, the registry of data sets, the label schemes, the metrics' names."""
