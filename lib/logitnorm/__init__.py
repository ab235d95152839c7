"""LogitNorm (Wei et al., ICML 2022) and Learned Confidence (DeVries & Taylor, 2018), as small readable modules."""
