"""From scores to what sets the worst cases apart: case files, effect sizes, radiomics."""
