"""Every bundled strategy passes the contract, alone and in company."""

from __future__ import annotations

from graftwork.testing import strategy_contract
from graftwork_plugins.strategies.auto_rgn import AutoRGN
from graftwork_plugins.strategies.bitfit import BitFit
from graftwork_plugins.strategies.bss import BSS
from graftwork_plugins.strategies.co_tuning import CoTuning
from graftwork_plugins.strategies.delta import Delta
from graftwork_plugins.strategies.distill import Distill
from graftwork_plugins.strategies.ewc import EWC
from graftwork_plugins.strategies.feature_extract import FeatureExtract
from graftwork_plugins.strategies.freeze import Freeze
from graftwork_plugins.strategies.full_copy import FullCopy
from graftwork_plugins.strategies.gradual_unfreeze import GradualUnfreeze
from graftwork_plugins.strategies.joint import Joint
from graftwork_plugins.strategies.l2_sp import L2SP
from graftwork_plugins.strategies.layer_decay import LayerDecay
from graftwork_plugins.strategies.lora import LoRA
from graftwork_plugins.strategies.lp_ft import LPFT
from graftwork_plugins.strategies.lr_scale import LRScale
from graftwork_plugins.strategies.lwf import LwF
from graftwork_plugins.strategies.norm_tune import NormTune
from graftwork_plugins.strategies.penalties import L1, L2
from graftwork_plugins.strategies.soup import Soup
from graftwork_plugins.strategies.stochnorm import StochNorm
from graftwork_plugins.strategies.wise_ft import WiSEFT

COPY = FullCopy()

test_scratch = strategy_contract()
test_full_copy = strategy_contract(COPY, zero=[COPY])
test_zero_head = strategy_contract(FullCopy(head="zero"))
test_drawn_head = strategy_contract(FullCopy(head="trunc_normal"))
test_class_mean_head = strategy_contract(FullCopy(head="class_mean"))
test_probed_head = strategy_contract(FullCopy(head="linear_probe"))
test_freeze = strategy_contract(COPY, Freeze())
test_freeze_the_stem = strategy_contract(COPY, Freeze(until=1))
test_freeze_half = strategy_contract(COPY, Freeze(until=0.5))
test_gradual_unfreeze = strategy_contract(COPY, GradualUnfreeze(), epochs=9)
test_layer_decay = strategy_contract(COPY, LayerDecay(), zero=[COPY, LayerDecay(1.0)])
test_lr_scale = strategy_contract(COPY, LRScale(2.0), zero=[COPY, LRScale()])
test_lp_ft = strategy_contract(COPY, LPFT())
test_l2_sp = strategy_contract(COPY, L2SP(), zero=[COPY, L2SP(0.0, 0.0)])
test_l2_sp_decoupled = strategy_contract(COPY, L2SP(decoupled=True), zero=[COPY, L2SP(0.0, 0.0, decoupled=True)])
test_delta = strategy_contract(COPY, Delta(), zero=[COPY, Delta(0.0, 0.0)])
test_delta_attention = strategy_contract(COPY, Delta(attention="channel"), zero=[COPY, Delta(0.0, 0.0, "channel")])
test_bss = strategy_contract(COPY, BSS(), zero=[COPY, BSS(0.0)])
test_co_tuning = strategy_contract(COPY, CoTuning(), zero=[COPY, CoTuning(0.0)])
test_lwf = strategy_contract(COPY, LwF(), zero=[COPY, LwF(0.0)])
test_joint = strategy_contract(COPY, Joint(images=24), zero=[COPY, Joint(source_weight=0.0, images=24)])
test_joint_both = strategy_contract(COPY, Joint(images=24, batch_norm="both", target_weight=0.5))
test_joint_then_alone = strategy_contract(COPY, Joint(images=24, joint_epochs=1))
test_distill = strategy_contract(COPY, Distill(), zero=[COPY, Distill(0.0)], source_classes=("z", "w", "x", "y"))
test_ewc = strategy_contract(COPY, EWC(images=8), zero=[COPY, EWC(0.0, images=8)])
test_stochnorm = strategy_contract(COPY, StochNorm(), zero=[COPY, StochNorm(1.0)], nets=["test_resnet"])
test_lora = strategy_contract(COPY, LoRA())
test_bitfit = strategy_contract(COPY, BitFit())
test_norm_tune = strategy_contract(COPY, NormTune())
test_norm_tune_held = strategy_contract(COPY, NormTune(batch_norm="eval"))
test_auto_rgn = strategy_contract(COPY, AutoRGN())
test_wise_ft = strategy_contract(COPY, WiSEFT())
test_soup = strategy_contract(COPY, Soup(2))
test_feature_extract = strategy_contract(COPY, FeatureExtract())
test_l1 = strategy_contract(COPY, L1(), zero=[COPY, L1(0.0)])
test_l2 = strategy_contract(COPY, L2(), zero=[COPY, L2(0.0)])
test_a_stack_of_many = strategy_contract(COPY, Freeze(until=2), LayerDecay(), L2SP(), BSS(), WiSEFT())
test_a_stack_in_phases = strategy_contract(COPY, GradualUnfreeze(), L2SP(), LwF(), epochs=9)
