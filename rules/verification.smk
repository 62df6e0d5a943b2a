# a results folder → what in it is not what it was when it was finished


rule verify_results:
    log:
        "<logs>/verify_results.log",
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        results=lambda w: STUDY.results,
        table=lambda w: under("verified.csv"),
    script:
        "../scripts/verify_results.py"
