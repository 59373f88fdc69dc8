"""The bundled plugins, on the same entry point as anyone's."""

from __future__ import annotations

from graftwork.hookspecs import hookimpl
from graftwork.registry import Registry


@hookimpl
def register_plugins(register: Registry) -> None:
    """Offer everything in this package."""
    from graftwork_plugins import (
        augmentations,
        cifar,
        fashion_mnist,
        idx,
        image_folder,
        lenet,
        mlp,
        npz,
        small_cnn,
        table,
        timm_model,
        vectors,
    )
    from graftwork_plugins.logs import dvclive, mlflow
    from graftwork_plugins.origins import (
        digits,
        huggingface,
        synthetic,
        timm_hub,
        torchvision,
        torchvision_weights,
        url,
    )
    from graftwork_plugins.selections import (
        at_random,
        herding,
        k_center,
        stratified,
    )
    from graftwork_plugins.strategies import (
        auto,
        auto_rgn,
        bitfit,
        bss,
        co_tuning,
        delta,
        distill,
        ewc,
        feature_extract,
        freeze,
        full_copy,
        gradual_unfreeze,
        joint,
        l2_sp,
        layer_decay,
        lora,
        lp_ft,
        lr_scale,
        lwf,
        norm_tune,
        penalties,
        soup,
        stochnorm,
        wise_ft,
    )
    from graftwork_plugins.weights import (
        keras,
        safetensors,
        torch,
    )

    register.origin("digits", digits.Digits)
    register.origin("huggingface", huggingface.HuggingFace)
    register.origin("synthetic", synthetic.Synthetic)
    register.origin("timm", timm_hub.Timm)
    register.origin("torchvision", torchvision.TorchvisionSet)
    register.origin("torchvision_weights", torchvision_weights.TorchvisionWeights)
    register.origin("url", url.Url)
    register.dataset("cifar", cifar.Cifar)
    register.dataset("fashion_mnist", fashion_mnist.FashionMNIST)
    register.dataset("idx", idx.Idx)
    register.dataset("image_folder", image_folder.ImageFolder)
    register.dataset("npz", npz.Npz)
    register.dataset("table", table.Table)
    register.dataset("vectors", vectors.Vectors)
    register.selection("herding", herding.Herding)
    register.selection("k_center", k_center.KCenter)
    register.selection("random", at_random.AtRandom)
    register.selection("stratified", stratified.Stratified)
    register.weights("keras", keras.Keras)
    register.weights("safetensors", safetensors.Safetensors)
    register.weights("torch", torch.TorchFile)
    register.log("dvclive", dvclive.DVCLive)
    register.log("mlflow", mlflow.MLflow)
    register.model("lenet", lenet.LeNet)
    register.model("mlp", mlp.MLP)
    register.model("small_cnn", small_cnn.SmallCNN)
    register.model("timm", timm_model.TimmModel)
    register.augmentation("affine", augmentations.Affine)
    register.augmentation("colour", augmentations.Colour)
    register.augmentation("crop", augmentations.Crop)
    register.augmentation("cutmix", augmentations.CutMix)
    register.augmentation("erase", augmentations.Erase)
    register.augmentation("flip", augmentations.Flip)
    register.augmentation("mixup", augmentations.MixUp)
    register.augmentation("rotate", augmentations.Rotate)
    register.augmentation("shift", augmentations.Shift)
    register.strategy("auto", auto.Auto)
    register.strategy("auto_rgn", auto_rgn.AutoRGN)
    register.strategy("bitfit", bitfit.BitFit)
    register.strategy("bss", bss.BSS)
    register.strategy("co_tuning", co_tuning.CoTuning)
    register.strategy("delta", delta.Delta)
    register.strategy("distill", distill.Distill)
    register.strategy("ewc", ewc.EWC)
    register.strategy("feature_extract", feature_extract.FeatureExtract)
    register.strategy("freeze", freeze.Freeze)
    register.strategy("full_copy", full_copy.FullCopy)
    register.strategy("gradual_unfreeze", gradual_unfreeze.GradualUnfreeze)
    register.strategy("joint", joint.Joint)
    register.strategy("l1", penalties.L1)
    register.strategy("l2", penalties.L2)
    register.strategy("l2_sp", l2_sp.L2SP)
    register.strategy("layer_decay", layer_decay.LayerDecay)
    register.strategy("lora", lora.LoRA)
    register.strategy("lp_ft", lp_ft.LPFT)
    register.strategy("lr_scale", lr_scale.LRScale)
    register.strategy("lwf", lwf.LwF)
    register.strategy("norm_tune", norm_tune.NormTune)
    register.strategy("soup", soup.Soup)
    register.strategy("stochnorm", stochnorm.StochNorm)
    register.strategy("wise_ft", wise_ft.WiSEFT)
