"""Encoders: pca, autoencoder, vae, hybrid, contrastive, pretrained, classifier. The only home of torch.

A later kind is one file with a `@register`ed `Model` and a line here.
"""

from latentstore.encoders.autoencoder import Autoencoder
from latentstore.encoders.base import MODELS, Encoder, Model, register
from latentstore.encoders.checkpoint import load_encoder, read_card, save_encoder
from latentstore.encoders.classifier import Classifier
from latentstore.encoders.contrastive import Contrastive
from latentstore.encoders.cores import one_thread_each
from latentstore.encoders.flow import Flow, FlowOptions, train_flow
from latentstore.encoders.geodesic import Geodesics, GeodesicSolver
from latentstore.encoders.hybrid import Hybrid
from latentstore.encoders.pca import PCA
from latentstore.encoders.pretrained import Pretrained
from latentstore.encoders.pullbacks import pullbacks
from latentstore.encoders.schedule import Progress, TrainingOptions
from latentstore.encoders.training import TrainingRecord, train, training_options
from latentstore.encoders.vae import VAE

__all__ = [
    "MODELS",
    "PCA",
    "VAE",
    "Autoencoder",
    "Classifier",
    "Contrastive",
    "Encoder",
    "Flow",
    "FlowOptions",
    "GeodesicSolver",
    "Geodesics",
    "Hybrid",
    "Model",
    "Pretrained",
    "Progress",
    "TrainingOptions",
    "TrainingRecord",
    "load_encoder",
    "one_thread_each",
    "pullbacks",
    "read_card",
    "register",
    "save_encoder",
    "train",
    "train_flow",
    "training_options",
]
