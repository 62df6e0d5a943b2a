# dataset.json → plans → preprocessed cases → one training per fold; and models that are exported and imported
# What these rules make at great cost is undeclared in models/<model>/nnunet, under content keys: Snakemake deletes the
# declared outputs of a job before it runs again, and a declared output here is no more than a small record.

TRAINED = one_of(STUDY.trained())
IMPORTED = one_of(set(STUDY.predicting()) - set(STUDY.trained()))


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
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        channels=model_key("channels"),
        regions=model_key("regions"),
        labels=trained_labels,
        folds=model_key("folds"),
        folds_by=model_key("folds_by"),
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
        model=by_model(MODELS.plan_block),
        labels=trained_labels,
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
        mem_mb=memory("preprocess_model"),
        runtime=minutes("preprocess_model", model_cases),
    params:
        configuration=model_key("configuration"),
        channels=model_key("channels"),
        root=model_root,
        code=preprocessing_code(),
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
        curves=report(
            "<results>/models/{model}/fold_{fold}/curves.csv",
            caption="captions/curves.rst",
            category="Training",
            labels={"model": "{model}", "fold": "{fold}", "shows": "curves"},
        ),
    log:
        "<logs>/train_fold/{model}/{fold}.log",
    benchmark:
        "<benchmarks>/train_fold/{model}/{fold}.tsv"
    wildcard_constraints:
        model=TRAINED,
    conda:
        "../envs/glioflow.yaml"
    threads: model_key("threads")
    resources:
        mem_mb=memory("train_fold"),
        runtime=minutes("train_fold", fold_cases, fold_iterations),
        gpu=by_model(MODELS.gpus),
    params:
        configuration=model_key("configuration"),
        channels=model_key("channels"),
        device=model_key("device"),
        trainer=by_model(MODELS.fact, "trainer"),
        probabilities=by_model(MODELS.kept_probabilities),
        released=by_model(released_record),
        retrain_on_upgrade=model_key("retrain_on_upgrade"),
        upgrade=lambda w: training_code() if STUDY.models[w.model].retrain_on_upgrade else None,
        root=model_root,
        code=prediction_code(),  # of the validation cases; nothing is trained again
    script:
        "../scripts/train_fold.py"


rule write_tensorboard:
    input:
        manifest="<results>/models/{model}/fold_{fold}/manifest.json",
        curves="<results>/models/{model}/fold_{fold}/curves.csv",
    output:
        "<results>/models/{model}/tensorboard/fold_{fold}/events.out.tfevents.glioflow",
    log:
        "<logs>/write_tensorboard/{model}/{fold}.log",
    wildcard_constraints:
        model=TRAINED,
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_fingerprint("write_tensorboard"),
    script:
        "../scripts/write_tensorboard.py"


rule export_model:
    input:
        unpack(kept_postprocessing),
        dataset=nnunet_file("raw/dataset.json"),
        plans=nnunet_file("preprocessed/glioflowPlans.json"),
        folds=all_folds,
    output:
        "<results>/models/{model}/{model}.zip",
    log:
        "<logs>/export_model/{model}.log",
    benchmark:
        "<benchmarks>/export_model/{model}.tsv"
    wildcard_constraints:
        model=TRAINED,
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code_fingerprint("export_model"),
    script:
        "../scripts/export_model.py"


rule import_model:
    input:
        archive=lambda w: local(expand_path(STUDY.models[w.model].archive)),
    output:
        dataset=nnunet_file("raw/dataset.json"),
        plans=nnunet_file("preprocessed/glioflowPlans.json"),
        imported="<results>/models/{model}/imported.json",
        postprocessing="<results>/models/{model}/postprocessing.json",
    log:
        "<logs>/import_model/{model}.log",
    benchmark:
        "<benchmarks>/import_model/{model}.tsv"
    wildcard_constraints:
        model=IMPORTED,
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        root=model_root,
        told=by_model(MODELS.told),
        code=code_fingerprint("import_model"),
    script:
        "../scripts/import_model.py"


rule import_fold:
    input:
        "<results>/models/{model}/imported.json",
    output:
        "<results>/models/{model}/fold_{fold}/manifest.json",
    log:
        "<logs>/import_fold/{model}/{fold}.log",
    wildcard_constraints:
        model=IMPORTED,
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/import_fold.py"
