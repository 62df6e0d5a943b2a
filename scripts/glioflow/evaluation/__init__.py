"""From masks to numbers: conventions, metrics, lesions, score tables, intervals, tests and rankings."""
