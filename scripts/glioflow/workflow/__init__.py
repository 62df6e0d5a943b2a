"""What the Snakefile and the rules ask of a study: whether it is sound, which sets it has, what each job works on."""
