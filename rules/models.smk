# dataset.json → plans → preprocessed cases → one training per fold → predictions → ensembles
#
# What these rules make at great cost lies undeclared in models/<model>/nnunet, under content keys: Snakemake deletes the
# declared outputs of a job before it runs again, and a declared output here is no more than a small record.

TRAINED = _one_of(STUDY.trained())


rule write_dataset_json:
    input:
        manifest=cohort_file("manifest.csv"),
        split=cohort_file("split.csv"),
        external=external_splits,  # wrong external cases stop the study before anything is trained
    output:
        dataset=nnunet_file("raw/dataset.json"),
        splits=nnunet_file("preprocessed/splits_final.json"),
    log:
        "<logs>/write_dataset_json/{model}.log",
    wildcard_constraints:
        model=TRAINED,
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        channels=model_key("channels"),
        regions=model_key("regions"),
        folds=model_key("folds"),
        code=code_fingerprint("write_dataset_json"),
    script:
        "../scripts/write_dataset_json.py"


rule plan_model:
    input:
        dataset=nnunet_file("raw/dataset.json"),
        manifest=cohort_file("manifest.csv"),
    output:
        nnunet_file("preprocessed/glioflowPlans.json"),
    log:
        "<logs>/plan_model/{model}.log",
    benchmark:
        "<benchmarks>/plan_model/{model}.tsv"
    wildcard_constraints:
        model=TRAINED,
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=16000,
        runtime=240,
    params:
        model=plan_block,
        root=model_root,
        code=code_fingerprint("plan_model"),
    script:
        "../scripts/plan_model.py"


rule preprocess_model:
    input:
        dataset=nnunet_file("raw/dataset.json"),
        manifest=cohort_file("manifest.csv"),
        plans=nnunet_file("preprocessed/glioflowPlans.json"),
    output:
        "<results>/models/{model}/preprocessed.json",
    log:
        "<logs>/preprocess_model/{model}.log",
    benchmark:
        "<benchmarks>/preprocess_model/{model}.tsv"
    wildcard_constraints:
        model=TRAINED,
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=32000,
        runtime=480,
    params:
        configuration=model_key("configuration"),
        channels=model_key("channels"),
        root=model_root,
    script:
        "../scripts/preprocess_model.py"


rule train_fold:
    input:
        manifest=cohort_file("manifest.csv"),
        dataset=nnunet_file("raw/dataset.json"),
        splits=nnunet_file("preprocessed/splits_final.json"),
        plans=nnunet_file("preprocessed/glioflowPlans.json"),
        preprocessed="<results>/models/{model}/preprocessed.json",
    output:
        manifest="<results>/models/{model}/fold_{fold}/manifest.json",
        curves="<results>/models/{model}/fold_{fold}/curves.csv",
    log:
        "<logs>/train_fold/{model}_{fold}.log",
    benchmark:
        "<benchmarks>/train_fold/{model}_{fold}.tsv"
    wildcard_constraints:
        model=TRAINED,
    conda:
        "../envs/glioflow.yaml"
    threads: model_threads
    resources:
        mem_mb=32000,
        runtime=4320,
        gpu=model_gpus,
    params:
        configuration=model_key("configuration"),
        channels=model_key("channels"),
        device=model_key("device"),
        probabilities=keeps_probabilities,
        root=model_root,
    script:
        "../scripts/train_fold.py"


rule collect_cv:
    input:
        split=cohort_file("split.csv"),
        folds=lambda w: fold_manifests(w.model),
    output:
        "<results>/predictions/{model}/cv/predictions.csv",
    log:
        "<logs>/collect_cv/{model}.log",
    wildcard_constraints:
        model=TRAINED,
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        code=code_fingerprint("collect_cv"),
    script:
        "../scripts/collect_cv.py"


rule predict_cases:
    input:
        manifest=set_file("manifest.csv"),
        split=set_file("split.csv"),
        dataset=nnunet_file("raw/dataset.json"),
        plans=nnunet_file("preprocessed/glioflowPlans.json"),
        folds=lambda w: fold_manifests(w.model),
    output:
        "<results>/predictions/{model}/{set}/predictions.csv",
    log:
        "<logs>/predict_cases/{model}_{set}.log",
    benchmark:
        "<benchmarks>/predict_cases/{model}_{set}.tsv"
    wildcard_constraints:
        model=TRAINED,
        set=_one_of({"test", *STUDY.cohorts}),
    conda:
        "../envs/glioflow.yaml"
    threads: 12
    resources:
        mem_mb=32000,
        runtime=1440,
        gpu=model_gpus,
    params:
        configuration=model_key("configuration"),
        channels=model_key("channels"),
        device=model_key("device"),
        tta=model_key("tta"),
        probabilities=keeps_probabilities,
        root=model_root,
        ledger=lambda w: ledger("predict_cases", w.model, w.set),
    script:
        "../scripts/predict_cases.py"


rule convert_predictions:
    input:
        manifest=cohort_file("manifest.csv"),
        split=cohort_file("split.csv"),
    output:
        "<results>/predictions/{model}/given/predictions.csv",
    log:
        "<logs>/convert_predictions/{model}.log",
    benchmark:
        "<benchmarks>/convert_predictions/{model}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        pattern=lambda w: expand_path(STUDY.models[w.model].predictions),
        scheme_name=model_key("label_scheme"),
        scheme=lambda w: label_schemes()[STUDY.models[w.model].label_scheme],
        on_geometry_mismatch=model_key("on_geometry_mismatch"),
        source=given_stamp,
        ledger=lambda w: ledger("convert_predictions", w.model),
        code=code_fingerprint("convert_predictions"),
    script:
        "../scripts/convert_predictions.py"


rule ensemble_models:
    input:
        split=set_file("split.csv"),
        predictions=member_predictions,
        folds=member_folds,
        dataset=member_file("raw/dataset.json"),
        plans=member_file("preprocessed/glioflowPlans.json"),
    output:
        "<results>/predictions/{model}/{set}/predictions.csv",
    log:
        "<logs>/ensemble_models/{model}_{set}.log",
    benchmark:
        "<benchmarks>/ensemble_models/{model}_{set}.tsv"
    wildcard_constraints:
        model=_one_of(STUDY.ensembles),
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=32000,
        runtime=240,
    params:
        members=lambda w: STUDY.ensembles[w.model].members,
        merge=lambda w: dict(STUDY.ensembles[w.model].merge),
        code=code_fingerprint("ensemble_models"),
    script:
        "../scripts/ensemble_models.py"
