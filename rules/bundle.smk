# the study → one file that a stranger can verify and run again


rule write_bundle:
    input:
        rules.cohorts.input,
        rules.scores.input,
        rules.failure.input,
        rules.report.input,
        bundled_models,
    output:
        bundle_file(),
    log:
        "<logs>/write_bundle.log",
    benchmark:
        "<benchmarks>/write_bundle.tsv"
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        study=STUDY.model_dump(mode="json"),
        written=STUDY.model_dump(mode="json", exclude_unset=True),
        results=lambda w: STUDY.results,
        code=code_fingerprint("write_bundle"),
    script:
        "../scripts/write_bundle.py"
