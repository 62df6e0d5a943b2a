# a results folder → what in it is not what it was when it was finished; what its jobs asked for and used


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


rule measure_efficiency:
    log:
        "<logs>/measure_efficiency.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        results=lambda w: STUDY.results,
        table=lambda w: under("efficiency.csv"),
        site=lambda w: under("resources.yaml"),
    script:
        "../scripts/measure_efficiency.py"
