// Package models builds networks as ONNX models with initialised weights: the CIFAR ResNets and the
// ImageNet ResNets of https://arxiv.org/abs/1512.03385, VGG with BatchNormalization
// (https://arxiv.org/abs/1409.1556), MobileNetV2 (https://arxiv.org/abs/1801.04381), ViT
// (https://arxiv.org/abs/2010.11929) and MLPs. They are models like any other: nothing else in the
// program knows them.
//
// Convolutions are initialised as in https://arxiv.org/abs/1502.01852 (fan out), linear layers
// uniformly with bound 1/sqrt(fan in), as PyTorch's layers are.
//
// # Limits
//
// Inputs are images [N, C, H, W] of fixed size; the batch is free.
//
// # Errors
//
// New fails for unknown names and for inputs that are too small for a network's strides.
//
// # Concurrency
//
// New is independent of other calls.
package models
