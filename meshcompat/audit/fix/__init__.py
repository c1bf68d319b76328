"""Rewriting: private calls of torch become meshcompat's where that keeps their meaning."""

from __future__ import annotations

from meshcompat.audit.fix.diff import diff
from meshcompat.audit.fix.outcome import Outcome, carry_out
from meshcompat.audit.fix.plan import Plan, plan

__all__ = ["Outcome", "Plan", "carry_out", "diff", "plan"]
