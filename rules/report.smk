# volumes of the extreme cases for the viewer; what every job took; every table and figure → one page


rule pack_volumes:
    input:
        unpack(probability_records),
        extremes="<results>/failure/{model}/{set}/extremes.csv",
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        table="<results>/report/viewer/{model}/{set}/volumes.csv",
    log:
        "<logs>/pack_volumes/{model}/{set}.log",
    benchmark:
        "<benchmarks>/pack_volumes/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cases=STUDY.report.viewer_cases,
        region=STUDY.failure.region,
        regions=STUDY.evaluation.regions,
        trained_regions=by_model(MODELS.predicted_regions),
        truth_regions=by_set(MODELS.labelled_regions),
        convention=STUDY.evaluation.convention,
        conventions=parameters_hash(STUDY.evaluation.convention),
        code=code_fingerprint("pack_volumes"),
    script:
        "../scripts/pack_volumes.py"


rule summarise_jobs:
    input:
        reported_tables(),
    output:
        report(
            "<results>/report/jobs.csv",
            caption="captions/jobs.rst",
            category="Methods",
            labels={"shows": "what every step took"},
        ),
    log:
        "<logs>/summarise_jobs.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        results=lambda w: STUDY.results,
        code=code_fingerprint("summarise_jobs"),
    script:
        "../scripts/summarise_jobs.py"


rule write_report:
    input:
        reported_tables(),
        jobs="<results>/report/jobs.csv",
    output:
        report(
            "<results>/report/index.html",
            caption="captions/page.rst",
            category="Report",
            labels={"shows": "the whole study"},
        ),
        "<results>/report/viewer/niivue.js",
        "<results>/report/references.bib",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        study=STUDY.model_dump(mode="json", exclude={"bundle"}),
        config_file=CONFIG_FILE,
        results=lambda w: STUDY.results,
        pairs=report_pairs(STUDY),
        unscored=unscored_sets(STUDY),
        trained={name: model.folds for name, model in STUDY.trained().items()},
        conventions=parameters_hash(STUDY.evaluation.convention),
        groups=groups_hash(),
        checklists=checklists_hash(),
        training_code=training_code() if STUDY.trained() else None,  # the report shows how the folds' differs
        code=code_fingerprint("write_report", templates="glioflow/report/templates"),
    script:
        "../scripts/write_report.py"
