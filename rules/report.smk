# volumes of the extreme cases for the viewer; every table and figure → one page


rule pack_volumes:
    input:
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


rule write_report:
    input:
        expand(
            "<results>/cohorts/{cohort}/{table}.csv",
            cohort=STUDY.cohorts,
            table=["manifest", "verification", "comparison", "split"],
        ),
        expand("<results>/predictions/{model}/given/warnings.csv", model=STUDY.given()),
        unscored_predictions(),
        expand("<results>/scores/{pair}.csv", pair=scored_sets(STUDY)),
        expand("<results>/scores/{pair}_{table}.csv", pair=scored_sets(STUDY), table=["summary", "groups", "warnings"]),
        "<results>/scores/comparison.csv",
        "<results>/scores/ranks.csv",
        published_table(),
        expand("<results>/scores/{pair}_{table}.csv", pair=scored_sets(STUDY), table=["conventions", "convention_ranks"]),
        expand(
            "<results>/failure/{pair}/{table}.csv",
            pair=failure_sets(STUDY),
            table=["extremes", "apart", "radiomics", "associations", "covariates", "failure_types", "confusion"],
        ),
        expand(
            "<results>/failure/{pair}/{table}.csv",
            pair=failure_sets(STUDY),
            table=["overlays", "witnesses"],
        ),
        expand("<results>/failure/{pair}/associations.png", pair=failure_sets(STUDY)),
        expand("<results>/report/viewer/{pair}/volumes.csv", pair=failure_sets(STUDY)),
        requested_tables(),
        quality_tables(),
        [fold for model in STUDY.trained() for fold in fold_manifests(model)],
        expand("<results>/models/{model}/postprocessing.json", model=filter(MODELS.is_postprocessed, STUDY.trained())),
    output:
        "<results>/report/index.html",
        "<results>/report/viewer/niivue.js",
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
        training_code=training_code() if STUDY.trained() else None,  # the report shows how the folds' differs
        code=code_fingerprint("write_report", templates="glioflow/report/templates"),
    script:
        "../scripts/write_report.py"
