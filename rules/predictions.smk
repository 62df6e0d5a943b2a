# folds → masks in cross-validation and of every set → ensembles → post-processed masks

PREDICTING = one_of(STUDY.predicting())
ENSEMBLES = one_of(STUDY.ensembles)


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
