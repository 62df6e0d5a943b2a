# dataset.json → plans → preprocessed cases → one training per fold → predictions → ensembles
# What these rules make at great cost is undeclared in models/<model>/nnunet, under content keys: Snakemake deletes the
# declared outputs of a job before it runs again, and a declared output here is no more than a small record.

TRAINED = one_of(STUDY.trained())
PREDICTING = one_of(STUDY.predicting())
ENSEMBLES = one_of(STUDY.ensembles)
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


rule collect_cv:
    input:
        split=cohort_file("split.csv"),
        folds=all_folds,
    output:
        "<results>/predictions/{model}/cv/predictions.csv",
        uncertainty="<results>/predictions/{model}/cv/uncertainty.csv",
    log:
        "<logs>/collect_cv/{model}.log",
    wildcard_constraints:
        model=TRAINED,
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        tta=model_key("tta"),
        code=code_fingerprint("collect_cv"),
    script:
        "../scripts/collect_cv.py"


rule predict_cases:
    input:
        manifest=set_file("manifest.csv"),
        split=set_file("split.csv"),
        dataset=nnunet_file("raw/dataset.json"),
        plans=nnunet_file("preprocessed/glioflowPlans.json"),
        folds=predicting_folds,
    output:
        "<results>/predictions/{model}/{set}/predictions.csv",
        probabilities="<results>/predictions/{model}/{set}/probabilities.csv",
        uncertainty="<results>/predictions/{model}/{set}/uncertainty.csv",
    log:
        "<logs>/predict_cases/{model}/{set}.log",
    benchmark:
        "<benchmarks>/predict_cases/{model}/{set}.tsv"
    wildcard_constraints:
        model=PREDICTING,
        set=one_of({"test", *STUDY.cohorts}),
    conda:
        "../envs/glioflow.yaml"
    threads: 12
    resources:
        mem_mb=memory("predict_cases"),
        runtime=minutes("predict_cases", set_cases),
        gpu=by_model(MODELS.gpus),
    params:
        configuration=by_model(MODELS.fact, "configuration"),
        channels=by_model(MODELS.fact, "channels"),
        device=model_key("device"),
        trainer=by_model(MODELS.fact, "trainer"),
        tta=model_key("tta"),
        probabilities=by_model(MODELS.kept_probabilities),
        released=by_model(released_record),
        root=model_root,
        cache=lambda w: case_cache("predict_cases", w.model, w.set),
        code=prediction_code("predict_cases"),
    script:
        "../scripts/predict_cases.py"


rule convert_predictions:
    input:
        manifest=cohort_file("manifest.csv"),
        split=cohort_file("split.csv"),
    output:
        predictions="<results>/predictions/{model}/given/predictions.csv",
        warnings="<results>/predictions/{model}/given/warnings.csv",
    log:
        "<logs>/convert_predictions/{model}.log",
    benchmark:
        "<benchmarks>/convert_predictions/{model}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("convert_predictions"),
        runtime=minutes("convert_predictions", model_cases),
    params:
        pattern=lambda w: expand_path(STUDY.models[w.model].predictions),
        scheme_name=model_key("label_scheme"),
        scheme=lambda w: label_schemes()[STUDY.models[w.model].label_scheme],
        on_geometry_mismatch=model_key("on_geometry_mismatch"),
        grid=lambda w: COHORTS.has_grid(STUDY.cohort_of(w.model)),
        converted=lambda w: under(f"cohorts/{STUDY.cohort_of(w.model)}/converted"),
        largest_image_gb=STUDY.largest_image_gb,
        on_missing=STUDY.evaluation.on_missing,
        regions=by_model(MODELS.shown_regions),
        source=by_model(MODELS.precomputed_stamp),
        cache=lambda w: case_cache("convert_predictions", w.model),
        code=code_fingerprint("convert_predictions"),
    script:
        "../scripts/convert_predictions.py"


rule ensemble_models:
    input:
        split=set_file("split.csv"),
        predictions=member_predictions,
        folds=member_folds,
        probabilities=member_probabilities,
        dataset=member_file("raw/dataset.json"),
        plans=member_file("preprocessed/glioflowPlans.json"),
    output:
        "<results>/predictions/{model}/{set}/predictions.csv",
    log:
        "<logs>/ensemble_models/{model}/{set}.log",
    benchmark:
        "<benchmarks>/ensemble_models/{model}/{set}.tsv"
    wildcard_constraints:
        model=ENSEMBLES,
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("ensemble_models"),
        runtime=minutes("ensemble_models", set_cases),
    params:
        members=ensemble_key("members"),
        method=ensemble_key("method"),
        merge=lambda w: dict(STUDY.ensembles[w.model].merge),
        regions=by_model(MODELS.predicted_regions),
        tta=by_model(MODELS.member_tta),
        released=lambda w: {member: released_record(member) for member in STUDY.ensembles[w.model].members},
        cache=lambda w: case_cache("ensemble_models", w.model, w.set),
        code=code_fingerprint("ensemble_models"),
    script:
        "../scripts/ensemble_models.py"


rule release_probabilities:
    input:
        ensembles=ensemble_tables,
        folds=all_folds,
    output:
        "<results>/models/{model}/probabilities_released.json",
    log:
        "<logs>/release_probabilities/{model}.log",
    wildcard_constraints:
        model=one_of(MODELS.releasing()),
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        predictions=lambda w: [under(f"predictions/{w.model}/{name}") for name in STUDY.sets_of(w.model)],
    script:
        "../scripts/release_probabilities.py"


rule choose_postprocessing:
    input:
        manifest=cohort_file("manifest.csv"),
        predictions="<results>/predictions/{model}/cv/predictions.csv",
    output:
        "<results>/models/{model}/postprocessing.json",
    log:
        "<logs>/choose_postprocessing/{model}.log",
    benchmark:
        "<benchmarks>/choose_postprocessing/{model}.tsv"
    wildcard_constraints:
        model=one_of({*STUDY.trained(), *STUDY.ensembles}),
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("choose_postprocessing"),
        runtime=minutes("choose_postprocessing", model_cases),
    params:
        regions=by_model(MODELS.predicted_regions),
        operations=lambda w: (STUDY.ensembles.get(w.model) or STUDY.models[w.model]).postprocessing.model_dump(),
        cache=lambda w: case_cache("choose_postprocessing", w.model),
        code=code_fingerprint("choose_postprocessing"),
    script:
        "../scripts/choose_postprocessing.py"


rule postprocess_cases:
    input:
        predictions="<results>/predictions/{model}/{set}/predictions.csv",
        postprocessing="<results>/models/{model}/postprocessing.json",
    output:
        "<results>/postprocessed/{model}/{set}/predictions.csv",
    log:
        "<logs>/postprocess_cases/{model}/{set}.log",
    benchmark:
        "<benchmarks>/postprocess_cases/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("postprocess_cases"),
        runtime=minutes("postprocess_cases", set_cases),
    params:
        cache=lambda w: case_cache("postprocess_cases", w.model, w.set),
        code=code_fingerprint("postprocess_cases"),
    script:
        "../scripts/postprocess_cases.py"


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
