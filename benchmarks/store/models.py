"""Who ordered what. It knows nothing of tenants."""

from typing import ClassVar

from django.db import models


class Category(models.Model):
    name = models.CharField(max_length=80)

    class Meta:
        app_label = "store"

    def __str__(self) -> str:
        return self.name


class Customer(models.Model):
    name = models.CharField(max_length=120)
    email = models.EmailField()
    joined_at = models.DateTimeField()

    class Meta:
        app_label = "store"

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    objects: ClassVar[models.Manager["Product"]] = models.Manager()

    category = models.ForeignKey(Category, on_delete=models.PROTECT)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.IntegerField(default=0)

    class Meta:
        app_label = "store"

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    placed_at = models.DateTimeField()

    class Meta:
        app_label = "store"

    def __str__(self) -> str:
        return f"order {self.pk}"


class Line(models.Model):
    objects: ClassVar[models.Manager["Line"]] = models.Manager()

    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        app_label = "store"

    def __str__(self) -> str:
        return f"line {self.pk}"
