"""The engine's one public class."""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from fimetric.arguments import seed_of, whole
from fimetric.gradients.checks import freed_graph_named, refuse_losses, trainable_parameters
from fimetric.gradients.contributions import Contribution, Dense
from fimetric.gradients.engine import Engine, Measured
from fimetric.gradients.positions import Positions
from fimetric.gradients.projection import Projections
from fimetric.gradients.sums import accumulated


class GradientNorms:
    """Per-sample squared gradient norms of every parameter tensor, for any PyTorch model.

    The table is exact: it equals what one backward pass per sample gives, at about the price of one
    backward pass for the batch, of any size and length. The first batch costs about twice that: one
    sample is checked against autograd. Operations that no rule knows cost more in each new size:
    which of their entries belong to which sample is then learnt by probes.

    Arguments:
        module: an ``nn.Module``, or an iterable of (name, parameter). Frozen parameters are left
            out; a tied one appears once, under its first name.

    Raises:
        ValueError: where there is no trainable parameter.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(3, 2)
        >>> norms = GradientNorms(model)
        >>> losses = model(torch.ones(5, 3)).square().sum(dim=1)
        >>> norms(losses).shape, norms.names
        (torch.Size([5, 2]), ['weight', 'bias'])

    References:
        Approximations to the Fisher Information Metric of Deep Generative Models for
        Out-Of-Distribution Detection (Dauncey, Holmes, Williams and Falck, 2024, arXiv 2403.01485)
        introduces these norms as features; it computes them by one backward pass per sample.
    """

    def __init__(self, module: nn.Module | Iterable[tuple[str, Tensor]]) -> None:
        self._engine = Engine(trainable_parameters(module))

    @property
    def names(self) -> list[str]:
        """Names of the J columns, in the order of ``named_parameters()``."""
        return list(self._engine.named)

    @freed_graph_named()
    def __call__(self, losses: Tensor, retain_graph: bool = False) -> Tensor:
        """Return the squared norms of d losses[n] / d parameter j.

        Arguments:
            losses: (N,) real, with a graph. A sum over a group gives its joint gradient's norms.
            retain_graph: whether to keep the graph for another use.

        Returns:
            (N, J) tensor without graph, float64 where any parameter is, else float32. A parameter
            that the losses do not use is a column of exact zeros.

        Raises:
            ValueError: where the losses are not (N,) real numbers with a graph.
            MixedSamplesError: where the loss of one sample is seen to depend on other samples:
                batch normalisation in training mode at any N, other mixing from N = 3 on where most
                of a sample's gradient runs through the sample itself. ``fimetric.extract`` compares
                samples with and without their batch and catches the rest.
            RuntimeError: where the engine and autograd disagree on the sample that is checked, or a
                hook above the parameters changes gradients. Hooks of parameters apply per sample.
        """
        return self._engine.table(losses, retain_graph)

    @freed_graph_named()
    def measure(self, losses: Tensor) -> Measured:
        """Return the table and the bound below which each entry is rounding noise.

        This costs about half more than the table alone; the graph is kept.
        """
        return self._engine.measure(losses)

    @freed_graph_named()
    def gram(self, losses: Tensor, retain_graph: bool = False) -> Tensor:
        """Return the inner products of the samples' gradients, (J, N, N)."""
        refuse_losses(losses)
        J, N = len(self.names), len(losses)
        products = self._engine.zeros(losses, J, N, N)

        def consume(j: int, contribution: Contribution) -> None:
            products[j] = contribution.gram().real

        self._engine.read(losses, consume, retain_graph)
        return products

    @freed_graph_named()
    def accumulate(self, windows: Iterable[Tensor]) -> Tensor:
        """Return the squared norms of gradients that are summed over several graphs.

        Sample n's loss is the sum of its losses in all windows, as of a text too long for one
        graph: the table is that of the sum, which does not follow from the windows' own. Each graph
        is read and freed before the next window is asked for. The samples' gradients are added up
        as they are, which takes N times the memory of the parameters: keep N small.

        Arguments:
            windows: losses (N,) of one window after another, best from a generator that computes
                them when they are asked for. A sample that has ended has a loss of zero.

        Returns:
            (N, J), as from a call on the sum of all windows' losses.

        Raises:
            ValueError: where there is no window, one has another N than the first, or the losses
                are not (N,) real numbers with a graph.

        Example:
            >>> import torch
            >>> model = torch.nn.Linear(3, 2)
            >>> texts = torch.ones(5, 8, 3)  # 8 positions
            >>> windows = (model(w).square().sum((1, 2)) for w in texts.split(4, dim=1))
            >>> GradientNorms(model).accumulate(windows).shape
            torch.Size([5, 2])
        """
        return accumulated(self._engine, windows)

    @freed_graph_named()
    def by_position(
        self, losses: Tensor, retain_graph: bool = False
    ) -> Iterator[tuple[str, Tensor | None]]:
        """Yield (name, (N, T)): what each position adds to the squared norm, in the order of names.

        The gradient is a sum over the positions t at which the sample uses the tensor, g = sum_t
        g_t. Position t adds <g_t, g>, which is negative where it works against the others; over t
        this sums to |g|^2. It is not the norm of the gradient of one position's loss, to which all
        positions add and which takes T backward passes.

        Positions are the rows that a linear layer maps, the tokens of an embedding, the pixels of a
        convolution's output (a transposed one's input) and what a bias or an elementwise factor is
        broadcast to; several axes are numbered row by row. Uses of a tied tensor, all over the same
        T, add up position by position.

        None stands for (N, T) where positions cannot be told: fewer than two, uses with unlike T,
        tensors that are unused or go through operations of their own first (weight normalisation),
        normalisation over groups or batches, operations without a fast rule, hooks, one backward
        pass per sample, and rows that the data choose (mixtures of experts).

        Arguments:
            losses: (N,) real, with a graph.
            retain_graph: whether to keep the graph for another use.

        Raises:
            ValueError: where the losses are not (N,) real numbers with a graph.
        """
        refuse_losses(losses)
        positions = Positions(self._engine.zeros(losses, 0).dtype)
        plan = self._engine.read(losses, positions.take, retain_graph)
        return positions.named(self.names, plan)

    @freed_graph_named()
    def project(self, losses: Tensor, k: int, seed: int, retain_graph: bool = False) -> Tensor:
        """Return a random projection of each sample's whole gradient, (N, k).

        Coordinate i is the sum over tensors of a_i^T G b_i / sqrt(k): G is the tensor's gradient as
        a matrix (its first axis, and all others in one), a_i and b_i are random signs that depend
        on the seed and the tensor's name and shape alone. Over seeds the mean of <p_n, p_m> is
        <g_n, g_m>, and k Var |p_n|^2 <= 2 |g_n|^4 + 6 sum_j |G_nj^T G_nj|^2: a sign for each entry
        would have the first term only. The second, the price of projecting factors as they are, is
        small where gradients spread over many tensors and ranks, and three times the first at most.

        Arguments:
            losses: (N,) real, with a graph.
            k: numbers to a sample.
            seed: of the signs.
            retain_graph: whether to keep the graph for another use.

        Raises:
            TypeError: where k or seed is no whole number.
            ValueError: where k is below 1, the seed negative, or the losses not (N,) with a graph.

        References:
            Tensor Random Projection for Low Memory Dimension Reduction (Sun, Guo, Tropp and Udell,
            2021, arXiv 2105.00105)
        """
        k, seed = whole("k", k), seed_of(seed)
        refuse_losses(losses)
        zeros = self._engine.zeros(losses, len(losses), k)
        projections = Projections(self._engine.named, seed, zeros)
        self._engine.read(losses, projections.take, retain_graph)
        return projections.total()

    def contributions(
        self, losses: Tensor, retain_graph: bool = False
    ) -> Iterator[tuple[str, Contribution]]:
        """Yield (name, ``Dense`` or ``Factors``) for every parameter, in the order of ``names``.

        ``Dense.values`` holds the samples' gradients, (N, *shape). ``Factors.u`` (N, T, O) and
        ``Factors.v`` (N, T, I) mean the matrices sum_t u_t v_t^T. Both have ``dense()``,
        ``squared_norms()`` and ``gram()``.
        """
        found: dict[int, Contribution] = {}
        self._engine.read(losses, found.__setitem__, retain_graph)
        for j, (name, parameter) in enumerate(self._engine.named.items()):
            if j not in found:
                found[j] = Dense(parameter.detach().new_zeros(len(losses), *parameter.shape))
            yield name, found.pop(j)
