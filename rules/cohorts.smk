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
        difficulty=lambda w: STUDY.cohorts[w.cohort].difficulty,
        shape=lambda w: STUDY.cohorts[w.cohort].shape,
        spacing_mm=lambda w: STUDY.cohorts[w.cohort].spacing_mm,
        made_in=by_cohort(COHORTS.phantom_folder),
        cache=lambda w: case_cache("make_phantom", w.cohort),
        code=code_fingerprint("make_phantom"),
    script:
        "../scripts/make_phantom.py"


checkpoint fetch_dataset:
    output:
        fetched="<results>/cohorts/{cohort}/fetched.json",
    log:
        "<logs>/fetch_dataset/{cohort}.log",
    benchmark:
        "<benchmarks>/fetch_dataset/{cohort}.tsv"
    localrule: True  # a cluster's compute nodes often have no network
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=1440,
    params:
        key=lambda w: STUDY.cohorts[w.cohort].dataset,
        entry=lambda w: datasets()[STUDY.cohorts[w.cohort].dataset].model_dump(mode="json"),
        folder=lambda w: str(told(COHORTS.folder, w.cohort)),
        code=code_fingerprint("fetch_dataset"),
    script:
        "../scripts/fetch_dataset.py"


rule convert_cohort:
    input:
        unpack(cohort_origin),
        files=further_files,
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
        mem_mb=memory("convert_cohort"),
        runtime=minutes("convert_cohort", cohort_cases),
    params:
        cohort=by_cohort(COHORTS.block),
        folder=lambda w: str(told(COHORTS.folder, w.cohort)),
        source=by_cohort(COHORTS.stamp),
        converted=lambda w: under(f"cohorts/{w.cohort}/converted"),
        cache=lambda w: case_cache("convert_cohort", w.cohort),
        largest_image_gb=STUDY.largest_image_gb,
        reread=reread(),
        code=code_fingerprint("convert_cohort"),
    script:
        "../scripts/convert_cohort.py"


rule verify_cohort:
    input:
        cases="<results>/cohorts/{cohort}/cases.csv",
        conversion="<results>/cohorts/{cohort}/conversion.csv",
        files=further_files,
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
        mem_mb=memory("verify_cohort"),
        runtime=minutes("verify_cohort", cohort_cases),
    params:
        scheme_name=by_cohort(COHORTS.scheme_name),
        scheme=by_cohort(COHORTS.scheme),
        labelled=by_cohort(COHORTS.is_labelled),
        channels=by_cohort(COHORTS.needed_channels),
        missing=by_cohort(COHORTS.missing_channels),
        on_geometry_mismatch=by_cohort(COHORTS.on_geometry_mismatch),
        skull_stripped=by_cohort(COHORTS.is_skull_stripped),
        requirements=by_cohort(COHORTS.requirements),
        source=by_cohort(COHORTS.stamp),
        made_in=lambda w: under(f"cohorts/{w.cohort}/labels"),
        cache=lambda w: case_cache("verify_cohort", w.cohort),
        largest_image_gb=STUDY.largest_image_gb,
        reread=reread(),
        code=code_fingerprint("verify_cohort"),
    script:
        "../scripts/verify_cohort.py"


rule compare_cohorts:
    input:
        manifest="<results>/cohorts/{cohort}/manifest.csv",
        training=training_manifests,
    output:
        "<results>/cohorts/{cohort}/comparison.csv",
    log:
        "<logs>/compare_cohorts/{cohort}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        cohort=lambda w: w.cohort,
        dataset=lambda w: STUDY.cohorts[w.cohort].dataset,
        training=lambda w: {other: STUDY.cohorts[other].dataset for other in COHORTS.training_cohorts(w.cohort)},
        code=code_fingerprint("compare_cohorts"),
    script:
        "../scripts/compare_cohorts.py"


rule split_cohort:
    input:
        manifest="<results>/cohorts/{cohort}/manifest.csv",
        verification="<results>/cohorts/{cohort}/verification.csv",
        comparison="<results>/cohorts/{cohort}/comparison.csv",
        files=further_files,
    output:
        "<results>/cohorts/{cohort}/split.csv",
    log:
        "<logs>/split_cohort/{cohort}.log",
    benchmark:
        "<benchmarks>/split_cohort/{cohort}.tsv"
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        split=by_cohort(COHORTS.split_block),
        code=code_fingerprint("split_cohort"),
    script:
        "../scripts/split_cohort.py"
