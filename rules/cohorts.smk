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
        cache=lambda w: case_cache("make_phantom", w.cohort),
        code=code_fingerprint("make_phantom"),
    script:
        "../scripts/make_phantom.py"


rule fetch_dataset:
    output:
        fetched="<results>/cohorts/{cohort}/fetched.json",
    log:
        "<logs>/fetch_dataset/{cohort}.log",
    benchmark:
        "<benchmarks>/fetch_dataset/{cohort}.tsv"
    retries: 3
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=1440,
    params:
        key=lambda w: STUDY.cohorts[w.cohort].dataset,
        entry=lambda w: datasets()[STUDY.cohorts[w.cohort].dataset].model_dump(mode="json"),
        folder=lambda w: str(case_folder(w.cohort)),
        code=code_fingerprint("fetch_dataset"),
    script:
        "../scripts/fetch_dataset.py"


rule convert_cohort:
    input:
        unpack(cohort_origin),
        files=lambda w: source_files(w.cohort),
    output:
        cases="<results>/cohorts/{cohort}/cases.csv",
        conversion="<results>/cohorts/{cohort}/conversion.csv",
    log:
        "<logs>/convert_cohort/{cohort}.log",
    benchmark:
        "<benchmarks>/convert_cohort/{cohort}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        cohort=cohort_block,
        folder=lambda w: str(case_folder(w.cohort)),
        source=cohort_stamp,
        converted=lambda w: under(f"cohorts/{w.cohort}/converted"),
        cache=lambda w: case_cache("convert_cohort", w.cohort),
        code=code_fingerprint("convert_cohort"),
    script:
        "../scripts/convert_cohort.py"


rule verify_cohort:
    input:
        cases="<results>/cohorts/{cohort}/cases.csv",
        conversion="<results>/cohorts/{cohort}/conversion.csv",
        files=lambda w: source_files(w.cohort),
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
        skull_stripped=is_skull_stripped,
        demands=cohort_demands,
        source=cohort_stamp,
        labels=lambda w: under(f"cohorts/{w.cohort}/labels"),
        cache=lambda w: case_cache("verify_cohort", w.cohort),
        code=code_fingerprint("verify_cohort"),
    script:
        "../scripts/verify_cohort.py"


rule compare_cohorts:
    input:
        manifest="<results>/cohorts/{cohort}/manifest.csv",
        training=lambda w: expand("<results>/cohorts/{other}/manifest.csv", other=training_cohorts(w.cohort)),
    output:
        "<results>/cohorts/{cohort}/comparison.csv",
    log:
        "<logs>/compare_cohorts/{cohort}.log",
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        cohort=lambda w: w.cohort,
        dataset=lambda w: STUDY.cohorts[w.cohort].dataset,
        training=lambda w: {other: STUDY.cohorts[other].dataset for other in training_cohorts(w.cohort)},
        code=code_fingerprint("compare_cohorts"),
    script:
        "../scripts/compare_cohorts.py"


rule split_cohort:
    input:
        manifest="<results>/cohorts/{cohort}/manifest.csv",
        verification="<results>/cohorts/{cohort}/verification.csv",
        comparison="<results>/cohorts/{cohort}/comparison.csv",
        files=lambda w: source_files(w.cohort),
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
        split=split_block,
        code=code_fingerprint("split_cohort"),
    script:
        "../scripts/split_cohort.py"
