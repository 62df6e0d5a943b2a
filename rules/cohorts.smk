# raw archive → cases → verified manifest → split


rule make_phantom:
    output:
        truth="<results>/cohorts/{cohort}/phantom.csv",
    log:
        "<logs>/make_phantom/{cohort}.log",
    benchmark:
        "<benchmarks>/make_phantom/{cohort}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cases=lambda w: STUDY.cohorts[w.cohort].cases,
        seed=lambda w: STUDY.cohorts[w.cohort].seed,
        planted=lambda w: dict(STUDY.cohorts[w.cohort].planted),
        shape=lambda w: STUDY.cohorts[w.cohort].shape,
        spacing_mm=lambda w: STUDY.cohorts[w.cohort].spacing_mm,
        folder=lambda w: phantom_folder(w.cohort),
        ledger=lambda w: ledger("make_phantom", w.cohort),
        code=code_fingerprint("make_phantom"),
    script:
        "../scripts/make_phantom.py"


rule convert_cohort:
    input:
        phantom_truth,
    output:
        "<results>/cohorts/{cohort}/cases.csv",
    log:
        "<logs>/convert_cohort/{cohort}.log",
    benchmark:
        "<benchmarks>/convert_cohort/{cohort}.tsv"
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        cohort=cohort_block,
        phantoms=lambda w: phantom_folder(w.cohort),
        source=cohort_stamp,
        code=code_fingerprint("convert_cohort"),
    script:
        "../scripts/convert_cohort.py"


rule verify_cohort:
    input:
        "<results>/cohorts/{cohort}/cases.csv",
    output:
        manifest="<results>/cohorts/{cohort}/manifest.csv",
        verification="<results>/cohorts/{cohort}/verification.csv",
    log:
        "<logs>/verify_cohort/{cohort}.log",
    benchmark:
        "<benchmarks>/verify_cohort/{cohort}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        scheme_name=lambda w: cohort_scheme(w.cohort)[0],
        scheme=lambda w: cohort_scheme(w.cohort)[1],
        channels=needed_channels,
        on_geometry_mismatch=lambda w: getattr(STUDY.cohorts[w.cohort], "on_geometry_mismatch", "error"),
        demands=cohort_demands,
        source=cohort_stamp,
        labels=lambda w: under(f"cohorts/{w.cohort}/labels"),
        ledger=lambda w: ledger("verify_cohort", w.cohort),
        code=code_fingerprint("verify_cohort"),
    script:
        "../scripts/verify_cohort.py"


rule split_cohort:
    input:
        manifest="<results>/cohorts/{cohort}/manifest.csv",
        verification="<results>/cohorts/{cohort}/verification.csv",
    output:
        "<results>/cohorts/{cohort}/split.csv",
    log:
        "<logs>/split_cohort/{cohort}.log",
    benchmark:
        "<benchmarks>/split_cohort/{cohort}.tsv"
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        test_fraction=lambda w: STUDY.cohorts[w.cohort].test_fraction,
        seed=lambda w: STUDY.cohorts[w.cohort].seed,
        folds=cohort_folds,
        code=code_fingerprint("split_cohort"),
    script:
        "../scripts/split_cohort.py"
